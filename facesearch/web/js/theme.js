/**
 * Sets the theme before anything is drawn, so that no page flashes in the wrong one. It offers no switch: see app.js.
 */
(function setTheme() {
  let chosen = null;
  try {
    chosen = window.localStorage.getItem("facesearch.theme");
  } catch (error) {
    chosen = null; // storage is closed to this page: the system's theme it is
  }
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const theme = document.documentElement.dataset.choice || "system";
    document.documentElement.dataset.theme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
  };
  document.documentElement.dataset.choice = chosen === "dark" || chosen === "light" ? chosen : "system";
  dark.addEventListener("change", apply);
  document.addEventListener("facesearch:theme", apply);
  apply();
})();
