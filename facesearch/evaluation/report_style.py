"""The look of a report: one style sheet, light or dark as the reader's screen, plain on paper.

It holds no content: see ``report``.
"""

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f27;--soft:#5b6474;--rule:#e1e5eb;--grid:#eceff3;
--mated:#1f6feb;--non-mated:#d9730d;--first:#1f6feb;--second:#d9730d;--third:#2a9d73;--muted:#8b94a3;--warn:#8a5a00;--warn-page:#fff6e0;
--warn-rule:#f0d9a0}
@media (prefers-color-scheme:dark){:root{--page:#11141a;--card:#191d25;--ink:#e7eaf0;--soft:#9aa4b5;--rule:#2b313c;--grid:#242a34;
--mated:#79adff;--non-mated:#ffb066;--first:#79adff;--second:#ffb066;--third:#67d3a8;--muted:#7c8798;--warn:#ffd889;--warn-page:#2b2413;
--warn-rule:#4d4020}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,Arial,
sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:28px;line-height:1.2;letter-spacing:-.015em;margin:0 0 14px;overflow-wrap:anywhere}
h2{font-size:19px;letter-spacing:-.01em;margin:44px 0 6px}
h3{font-size:15px;margin:0 0 8px}
p{margin:0 0 10px}
.lead,.note,figcaption{color:var(--soft)}
.lead{max-width:76ch}
.note{font-size:13px;max-width:90ch;margin:8px 0 0}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:3px 20px;margin:0;font-size:14px}
.facts dt{color:var(--soft)}
.facts dd{margin:0;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(225px,1fr));gap:14px;margin:26px 0 0}
.tile,.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:16px 18px;break-inside:avoid;min-width:0}
.tile .name{color:var(--soft);font-size:13px}
.tile .value{font-size:25px;font-weight:650;white-space:nowrap;letter-spacing:-.02em;line-height:1.3}
.tile .detail{color:var(--soft);font-size:13px}
.warnings{margin:22px 0 0;padding:12px 18px;background:var(--warn-page);border:1px solid var(--warn-rule);border-radius:10px;
color:var(--warn)}
.warnings p{margin:2px 0;overflow-wrap:anywhere}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:16px;margin-top:14px}
.grid2 figure{margin:0}.wide{grid-column:1/-1}.card.table{margin-top:14px}
.chart{display:block;width:100%;height:auto}
.chart text{fill:var(--soft);font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
.chart .label{fill:var(--ink);font-size:12px}
.chart .grid{stroke:var(--grid);fill:none}
.chart .axis{stroke:var(--muted);fill:none}
.chart .mark{stroke:var(--soft);stroke-dasharray:3 3;fill:none}
.chart .mark-label{font-size:10.5px;fill:var(--ink)}
.chart .line{fill:none;stroke-width:2.2;stroke-linejoin:round}
.chart .dashed{stroke-dasharray:6 4}
.chart .thin{stroke-width:1.2;opacity:.65}
.chart .area{fill-opacity:.28;stroke-width:1.4}
.mated{--tone:var(--mated)}.non-mated{--tone:var(--non-mated)}.first{--tone:var(--first)}.second{--tone:var(--second)}
.third{--tone:var(--third)}.muted{--tone:var(--muted)}
.chart .line,.chart .area{stroke:var(--tone)}
.chart .area,.chart .dots{fill:var(--tone)}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0 0 6px;font-size:13px;color:var(--soft)}
.key::before{content:"";display:inline-block;width:16px;height:0;border-top:3px solid var(--tone);margin-right:7px;
vertical-align:4px}
.key.dashed::before{border-top-style:dashed}
.key.area::before{height:10px;border:0;background:var(--tone);opacity:.6;vertical-align:-1px;border-radius:2px}
.key.dots::before{width:8px;height:8px;border:0;border-radius:50%;background:var(--tone);vertical-align:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;min-width:55%;font-size:14px}
th,td{padding:7px 22px 7px 0;text-align:left;border-bottom:1px solid var(--rule);vertical-align:top;
overflow-wrap:break-word;max-width:360px}
th{color:var(--soft);font-weight:600;font-size:13px}
tr:last-child td{border-bottom:0}
th.number,td.number{text-align:right;white-space:nowrap;padding-left:0}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(252px,1fr));gap:14px;margin-top:14px}
.pair{margin:0;padding:12px}
.pair .faces{display:grid;grid-template-columns:1fr 1fr;gap:6px}
.pair img,.pair .none{width:100%;aspect-ratio:1;border-radius:6px;display:block;object-fit:cover;background:var(--grid)}
.pair .none{display:grid;place-items:center;color:var(--soft);font-size:12px}
.pair .score{font-weight:650;margin:9px 0 1px}
.pair figcaption{font-size:12.5px;line-height:1.4;overflow-wrap:anywhere}
footer{margin-top:48px;padding-top:16px;border-top:1px solid var(--rule);color:var(--soft);font-size:13px}
footer p{max-width:90ch}
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--rule:#ccc;--grid:#e6e6e6;--mated:#1f6feb;
--non-mated:#d9730d;--first:#1f6feb;--second:#d9730d;--third:#2a9d73;--muted:#777;--warn:#5c3c00;--warn-page:#fff;--warn-rule:#999}
body{font-size:11pt}main{max-width:none;padding:0}h2{break-after:avoid;margin-top:24px}.grid2{grid-template-columns:1fr 1fr}
tr,.pair{break-inside:avoid}.area,.key::before,img{print-color-adjust:exact}}
"""
"""Blue and orange for mated and non-mated: told apart by colour-blind readers and, by lightness, in black and white."""
