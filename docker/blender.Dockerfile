# Workers that render: Triptych, plus Blender as a Python module in its own environment.
#   docker build -f docker/blender.Dockerfile -t triptych-blender:0.1.0 .
FROM python:3.11.14-slim-bookworm

ENV DO_NOT_TRACK=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PREFECT_HOME=/var/lib/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PYTHONUNBUFFERED=1 \
    TRIPTYCH_BLENDER_PYTHON=/opt/blender/bin/python \
    TRIPTYCH_CACHE=/cache

# bpy links these even without a screen. Debian has one version of each.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        libgl1 libice6 libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1 \
    && rm -rf /var/lib/apt/lists/*

# New volumes get the owner of the folder they are mounted over.
RUN useradd --uid 1000 --create-home triptych \
    && install --directory --owner=triptych --group=triptych /cache /cache/tmp /data /models "$PREFECT_HOME"

WORKDIR /app

COPY tasks/backends/cycles/requirements.txt blender-requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/blender \
    && /opt/blender/bin/pip install --no-deps -r blender-requirements.txt \
    && /opt/blender/bin/pip check \
    && /opt/blender/bin/python -c "import bpy"

# Only new requirements rebuild this layer.
COPY pyproject.toml constraints.txt docker/dependencies.py ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python dependencies.py s3 > requirements.txt \
    && pip install -c constraints.txt setuptools -r requirements.txt

COPY LICENSE README.md prefect.yaml ./
COPY schemas schemas
COPY tasks tasks
COPY flows flows
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-build-isolation -c constraints.txt -e '.[s3]' \
    && pip check \
    && python -m compileall -q schemas tasks flows

USER 1000:1000

# A worker is healthy while its server answers.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=5)"]

CMD ["prefect", "worker", "start", "--pool", "triptych-blender", "--limit", "1", "--with-healthcheck"]
