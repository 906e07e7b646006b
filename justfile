# The commands of CONTRIBUTING.md. `just` lists them; https://just.systems has the tool.

# List the recipes
default:
    @just --list

# Back up, download, damage and restore a small server
demo:
    cargo run --release -- demo

# Run every test; starts its own PostgreSQL
test *arguments:
    cargo test --workspace {{arguments}}

# Run what CI runs: format, lints, docs, query cache, tests
ci:
    bash .ci/run

# Format all code
fmt:
    cargo fmt --all

# Run clippy with warnings as errors
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Check the prepared queries in .sqlx, or write them anew after a change of a query or the schema
queries *arguments:
    scripts/sqlx-prepare {{arguments}}

# Write docs/openapi.json anew
openapi:
    cargo run --quiet -- openapi > docs/openapi.json

# Write docs/configure.md anew from config/default.toml
configure:
    HOLDFAST_WRITE_DOCS=1 cargo test -p holdfast-cli --test it guide::

# Build the binary for images and packages: link-time optimisation, slower to compile
dist:
    cargo build --profile dist --locked -p holdfast-cli --bin holdfast

# Run a script against a real service, for example `just script api-guide`
script name *arguments:
    scripts/{{name}} {{arguments}}

# Run the example client; it needs URL, SERVER and KEY
example-client:
    cargo run -p holdfast-cli --example client

# Archive, verify and restore a directory with the engine as a library
example-archive directory:
    cargo run -p holdfast-archive --example archive -- {{directory}}
