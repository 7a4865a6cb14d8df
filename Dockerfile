# docker build -t syncd .
# Two stages: the first builds with pip, the second has no more than what runs.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.lock pyproject.toml ./
COPY scripts/runtime-requirements scripts/
# Every byte that comes from outside is in the lock with its hash.
RUN python scripts/runtime-requirements > runtime.txt \
 && python scripts/runtime-requirements flit-core > build.txt \
 && python -m venv /opt/syncd \
 && /opt/syncd/bin/pip install --require-hashes -r runtime.txt \
 && python -m pip install --require-hashes -r build.txt
COPY README.md ./
COPY syncd syncd
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/syncd/bin/pip install --no-deps --no-index dist/*.whl \
 && /opt/syncd/bin/python -m compileall -q /opt/syncd/lib

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --system --gid 10001 syncd \
 && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/syncd --create-home \
      --shell /usr/sbin/nologin syncd
COPY --from=build /opt/syncd /opt/syncd
ENV PATH=/opt/syncd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/syncd \
    SYNCD_CONFIG=/etc/syncd/config.toml \
    SYNCD_ENGINE__STATE_DIR=/var/lib/syncd \
    SYNCD_WEB__BIND=0.0.0.0:8337
USER 10001:10001
WORKDIR /var/lib/syncd
# All that is written lies here or in /tmp: the root file system may be read-only.
VOLUME /var/lib/syncd
EXPOSE 8337
STOPSIGNAL SIGTERM
# Without the environment's proxy, which knows no 127.0.0.1 of ours.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8337/healthz', timeout=4)"]
ENTRYPOINT ["syncd"]
CMD ["run"]
