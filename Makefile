# What people type. Every target says what it does in `make help`; the work is in scripts/ and in cargo.

SHELL := /bin/bash
.DEFAULT_GOAL := help
ARGS ?=

.PHONY: help run test demo bench build check fmt prepare clients interop examples

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

prepare: ## Install what building needs (asks before it uses a password)
	@scripts/prepare.sh

run: prepare ## Build and start a node here (ARGS="--http 127.0.0.1:8080" adds flags)
	@scripts/cargo.sh run --release --bin meshwork -- run $(ARGS)

build: prepare ## Build the release binary
	@scripts/cargo.sh build --release --bin meshwork

test: prepare ## Format, lints, all tests, documentation tests, licences
	@scripts/test.sh

check: prepare ## The fast half of `make test`: format and lints
	@scripts/cargo.sh fmt --all --check
	@scripts/cargo.sh clippy --workspace --all-targets --quiet -- -D warnings

demo: build ## Three nodes, 200 tasks, one worker killed half way
	@scripts/demo.sh $(ARGS)

bench: build ## Measure two nodes on loopback: a table and a JSON file (ARGS="--seconds 5")
	@scripts/cargo.sh run --release --bin meshwork -- bench $(ARGS)

clients: build ## Other people's MCP clients (npm Inspector, Python mcp) against a real node
	@scripts/clients.sh

interop: build ## Other people's libp2p nodes (js-libp2p, py-libp2p) against a real node
	@scripts/interop.sh

examples: build ## The example workflow with MCP servers of others (PyPI, npm) against a real node
	@scripts/examples.sh

fmt: ## Format the code
	@scripts/cargo.sh fmt --all
