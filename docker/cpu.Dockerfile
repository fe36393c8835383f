# Prefect's server, the deployments, and the workers that need no GPU.
#   docker build -f docker/cpu.Dockerfile -t triptych-cpu:0.1.0 .
FROM python:3.11.14-slim-bookworm

ENV DO_NOT_TRACK=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PREFECT_HOME=/var/lib/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PYTHONUNBUFFERED=1 \
    TRIPTYCH_CACHE=/cache

# New volumes get the owner of the folder they are mounted over.
RUN useradd --uid 1000 --create-home triptych \
    && install --directory --owner=triptych --group=triptych /cache /cache/tmp /data /models "$PREFECT_HOME"

WORKDIR /app

# Only new requirements rebuild this layer.
COPY pyproject.toml constraints.txt docker/dependencies.py ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python dependencies.py kinemask s3 > requirements.txt \
    && pip install -c constraints.txt setuptools -r requirements.txt

COPY LICENSE README.md prefect.yaml ./
COPY schemas schemas
COPY tasks tasks
COPY flows flows
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-build-isolation -c constraints.txt -e '.[kinemask,s3]' \
    && pip check \
    && python -m compileall -q schemas tasks flows

USER 1000:1000

# A worker is healthy while its server answers.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=5)"]

CMD ["prefect", "worker", "start", "--pool", "triptych-shards", "--with-healthcheck"]
