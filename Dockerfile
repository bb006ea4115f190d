# mespot in a container; docs/service.md
#   docker build -t mespot .
#   docker build -t mespot:gpu --build-arg ORT=gpu .    (CUDA and cuDNN come as Python packages)
FROM python:3.11-slim-bookworm AS build
ARG ORT=cpu
RUN python -m venv /opt/mespot
WORKDIR /src
# what rarely changes first: the packages stay cached while the sources change
COPY pyproject.toml constraints.txt README.md LICENSE run_live.py ./
RUN mkdir models pipeline stages \
    && /opt/mespot/bin/pip install --no-cache-dir --disable-pip-version-check \
       -c constraints.txt ".[${ORT},metrics]"
COPY models models
COPY stages stages
COPY pipeline pipeline
RUN /opt/mespot/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
    --force-reinstall .

FROM python:3.11-slim-bookworm
# OpenCV links to these
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home --home-dir /var/lib/mespot --shell /usr/sbin/nologin mespot
COPY --from=build /opt/mespot /opt/mespot
ENV PATH=/opt/mespot/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/var/lib/mespot/state \
    XDG_CONFIG_HOME=/var/lib/mespot/config \
    NUMBA_CACHE_DIR=/var/lib/mespot/numba \
    MPLCONFIGDIR=/var/lib/mespot/matplotlib \
    MESPOT_METRICS__ENABLED=true \
    MESPOT_CONSOLE__FORMAT=json
USER 10001:10001
WORKDIR /var/lib/mespot
VOLUME /var/lib/mespot
# events, replay, metrics: loopback inside the container until keys and a token are given
EXPOSE 5556 5557 9464
STOPSIGNAL SIGTERM
# the first start compiles for a minute or two
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s --retries=3 \
    CMD ["mespot", "health"]
# the camera: MESPOT_SOURCE, at run time, so that no password is in the image
ENTRYPOINT ["mespot"]
CMD ["live"]
