# The service in a container. HNSWLIB_NO_NATIVE: compiled for the builder's own processor, hnswlib would die on another one.
FROM python:3.12-slim AS builder
ENV HNSWLIB_NO_NATIVE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# An index with torch's wheels for processors alone saves the gigabytes of its GPU libraries.
ARG PIP_EXTRA_INDEX_URL=""
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/facesearch
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE cli.py ./
COPY facesearch facesearch
COPY migrations migrations
RUN /opt/facesearch/bin/pip install '.[server,postgresql]'

FROM python:3.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin facesearch \
    && install --directory --owner=facesearch --mode=0700 /data
COPY --from=builder /opt/facesearch /opt/facesearch
ENV PATH=/opt/facesearch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FACESEARCH_DATA_DIR=/data \
    FACESEARCH_CACHE_DIR=/data/cache \
    FACESEARCH_MODELS_DIR=/data/models \
    FACESEARCH_SERVER_HOST=0.0.0.0
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["facesearch"]
CMD ["serve"]
