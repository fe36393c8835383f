# Workers with the papers' models. PyTorch brings CUDA; the host needs the driver (NVIDIA Container Toolkit).
#   docker build -f docker/gpu.Dockerfile -t triptych-gpu:0.1.0 .
FROM python:3.11.14-slim-bookworm

ENV DO_NOT_TRACK=1 \
    HF_HOME=/models/huggingface \
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

# Only new requirements rebuild this layer. sam2 first, headless OpenCV last: see the Makefile.
COPY pyproject.toml constraints.txt docker/dependencies.py ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python dependencies.py models s3 > requirements.txt \
    && pip install -c constraints.txt setuptools wheel \
    && SAM2_BUILD_CUDA=0 pip install --no-build-isolation --no-deps -c constraints.txt sam2 \
    && pip install -c constraints.txt -r requirements.txt \
    && pip install --force-reinstall --no-deps -c constraints.txt opencv-python-headless

COPY LICENSE README.md prefect.yaml ./
COPY schemas schemas
COPY tasks tasks
COPY flows flows
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-build-isolation -c constraints.txt -e '.[models,s3]' \
    && pip check \
    && python -m compileall -q schemas tasks flows

USER 1000:1000

# A worker is healthy while its server answers.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=5)"]

CMD ["prefect", "worker", "start", "--pool", "triptych-gpu", "--limit", "1", "--with-healthcheck"]
