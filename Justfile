# Recipes of the checkout. `just` lists them; README's two commands run `serve` and `test`.

python := ".venv/bin/python"
uv := ".venv/bin/uv"
compile := uv + " pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header"

_default:
    @just --list

# Install what the program needs into .venv
setup:
    {{uv}} pip sync --quiet --require-hashes --python {{python}} requirements.lock
    {{uv}} pip install --quiet --no-deps --python {{python}} --editable .

# Install what developing needs as well
setup-dev:
    {{uv}} pip sync --quiet --require-hashes --python {{python}} requirements-dev.lock
    {{uv}} pip install --quiet --no-deps --python {{python}} --editable .

# Start Jan
serve *flags: setup
    exec .venv/bin/jan serve {{flags}}

# Run every test, the real engine's included, in two processes; `-n 0` for one
test *flags: setup-dev lint
    {{python}} -m pytest -n 2 {{flags}}

# Format, lint, types and the quick tests: before each commit
check: fix lint
    {{python}} -m pytest -m "not engine and not slow"

# Lint and type-check
lint:
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/lint-imports
    .venv/bin/pyright

# Format, and mend what can be mended by itself
fix:
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix-only .

# Measure everything; `just bench --help` names what can be measured alone
bench *flags:
    {{python}} -m bench {{flags}}

builder := "build/venv/bin/python"

# Build the executable of a profile (a folder of bundles/) into dist/; needs binutils
bundle profile="gateway" *flags:
    {{uv}} venv --quiet --allow-existing --python {{python}} build/venv
    {{uv}} pip sync --quiet --require-hashes --python {{builder}} requirements.lock bundles/build.lock
    {{uv}} pip install --quiet --no-deps --python {{builder}} --editable .
    {{builder}} -m bundles {{profile}} {{flags}}

# Build an executable that carries an engine, and ask it offline, on a machine with nothing else
try-bundle profile="cpu" level="3": (bundle profile "--level" level)
    {{python}} -m pytest tests/frozen/with_engine.py

# Build an executable and its container image, dist/PROFILE/image.tar; needs docker or buildah
image profile="gateway" *flags: (bundle profile)
    {{python}} -m images {{profile}} {{flags}}

# Build an image that has an engine, and ask it offline, as a pod of the chart's; needs buildah
try-image level="3": (bundle "cpu" "--level" level)
    {{python}} -m pytest tests/images/with_engine.py

# Write the generated pages of docs/
docs:
    {{python}} docs/generate.py

# Resolve the ranges of pyproject.toml into the lock files
lock *flags:
    {{compile}} {{flags}} --universal --python-version 3.11 tools.in -o tools.lock
    {{compile}} {{flags}} --universal --python-version 3.11 pyproject.toml -o requirements.lock
    {{compile}} {{flags}} --universal --python-version 3.11 --group dev pyproject.toml -o requirements-dev.lock
    {{engine}} {{flags}} --constraints requirements.lock bundles/build.in -o bundles/build.lock
    {{engine}} {{flags}} --constraints bundles/build.lock --no-deps bundles/zstd.in -o bundles/zstd.lock
    {{engine}} {{flags}} --no-deps tests/helm/helm.in -o tests/helm/helm.lock
    {{engine}} {{flags}} --no-deps tests/images/hadolint.in -o tests/images/hadolint.lock

engine := compile + " --python-version 3.11 --python-platform x86_64-manylinux_2_28"
torch := if env("UV_FIND_LINKS", "") == "" { "--torch-backend cpu" } else { "" }

# Resolve bundles/; PyTorch's CPU build comes from its own index, or from where UV_FIND_LINKS says
lock-engines *flags:
    {{engine}} {{flags}} {{torch}} bundles/cpu/engine.in --excludes bundles/cpu/excludes.txt -o bundles/cpu/engine.lock
    env -u UV_FIND_LINKS {{engine}} {{flags}} bundles/cuda/engine.in -o bundles/cuda/engine.lock
    {{engine}} {{flags}} bundles/models/smollm2/model.in --no-deps -o bundles/models/smollm2/model.lock
