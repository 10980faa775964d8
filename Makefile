# Commands of the project; `make help` lists them.

# Which Python; without it, python3 or another supported one that is found.
PYTHON ?=
WORKLOAD ?= digits
STATE ?= .state
# Run parameters of the demo: SET="components=16 seed=1"
SET ?=
# Extras of setup.cfg that `make install` adds to what the local run needs: EXTRAS=torch
EXTRAS ?=
# An index of CPU-only torch wheels (the one on PyPI takes 4.7 GB on Linux).
TORCH_INDEX ?=
# Extras that `make constraints` writes a lock file for: those that are there.
LOCKS ?= $(filter-out build uv,$(basename $(notdir $(wildcard locks/*.txt))))
# Tests that start no servers and take seconds.
QUICK := $(addprefix tests/continuous_training/,core evaluation report) tests/test_layers.py tests/test_locks.py \
  tests/pipelines/test_steps.py tests/images/test_dockerfile.py
# Of `make test-bad-day`: the number of kills.
KILLS ?= 100
# Of `make images`: where to, the tag (default: the project's version), which, or those of which workloads (default: all),
# options of docker build.
REGISTRY ?=
TAG ?=
IMAGES ?=
WORKLOADS ?=
BUILD ?=

# Of `make compile`, `upload`, `schedule-diff` and `schedule-apply`: WORKLOADS, REGISTRY, TAG, the digests of the images, settings
# of the steps, the namespace of a profile, the schedule file. KF_PIPELINES_ENDPOINT and CT_KFP_TOKEN are read too.
DIGESTS ?=
STEPS ?=
NAMESPACE ?=
SCHEDULES ?= schedules.yaml

# Of `make images-join` and `images-sign`: more registries, to which the images are copied.
COPY ?=
# Paths of grype and syft, if they are not on PATH.
GRYPE ?=
SYFT ?=

# Of `make package` and `package-push`: the model, the format (server or kserve-oci), REGISTRY and COPY. CT_STORE and
# CT_SERVING_IMAGE are read too.
MODEL ?= $(WORKLOAD)
# The recipes read it from their environment, because make would execute a call of a function in it.
export MODEL
FORMAT ?= server

# Options of pytest for `make test`: PYTEST="--ignore=tests/images"
PYTEST ?=

VENV := .venv
BIN := $(VENV)/bin
ACTIONLINT_VERSION := 1.7.12
ACTIONLINT := $(BIN)/actionlint-$(ACTIONLINT_VERSION)
comma := ,
space := $(empty) $(empty)
# Workloads that train with an extra name it here, so that the first command that needs it installs it.
EXTRAS_OF_mnist := torch
EXTRAS_OF_nsmc := $(if $(filter model=deep model=both,$(SET)),torch)
extras = $(sort local $(subst $(comma), ,$(EXTRAS)) $(1))
# "+" joins the names of extras, which may contain "-".
stamp = $(VENV)/.installed-$(subst $(space),+,$(call extras,$(1)))

.PHONY: help install demo compile upload schedule-diff schedule-apply summary comment images-join images-scan images-sbom images-sign images package package-push stop packages debian registry-is-named test test-images test-quick test-cluster cluster cluster-is-named test-full test-bad-day lint lint-workflows format bench bench-gate bench-mutants bench-scale bench-serving bench-year bench-install golden constraints clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(call stamp,) ## make .venv with what the local run needs (EXTRAS=torch adds an extra)

$(VENV)/.installed-%: setup.cfg pyproject.toml constraints.txt scripts/install $(wildcard locks/*.txt)
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh scripts/install $(VENV) $(subst +, ,$*)
	@touch $@

demo: $(call stamp,$(EXTRAS_OF_$(WORKLOAD))) ## raw data to an answering endpoint (WORKLOAD=diabetes SET="features=bmi")
	@$(BIN)/python -m pipelines.demo --workload $(WORKLOAD) --state $(STATE) $(foreach pair,$(SET),--set $(pair))

stop: $(call stamp,) ## stop the model server of the demo
	@$(BIN)/python -m serving stop --state $(STATE)

packages: ## install the system packages that the tests use (Debian, Ubuntu)
	@.ci/packages

debian: ## run the demo and the quick tests on a fresh Debian 13 (as root; needs debootstrap)
	@$(if $(filter-out 0,$(shell id -u)),sudo) .ci/debian trixie

images: registry-is-named $(call stamp,) ## build and push the images (REGISTRY=HOST/PATH TAG=v1); digests to build/images.json
	@$(BIN)/python -m pipelines.build_images --registry $(REGISTRY) $(if $(TAG),--tag $(TAG)) \
	  $(if $(IMAGES),--images $(IMAGES),$(if $(WORKLOADS),--workloads $(WORKLOADS))) -- $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) $(BUILD)

published = --registry $(REGISTRY) $(COPY) --tag $(TAG) $(if $(IMAGES),--images $(IMAGES)) $(if $(DIGESTS),--digests $(DIGESTS))

images-join: registry-is-named $(call stamp,) ## create images of all architectures from TAG-amd64 and TAG-arm64 (COPY=another registry)
	@$(BIN)/python -m pipelines.publish_images join $(published)
	@[ -z "$$GITHUB_OUTPUT" ] || echo "digests=$$(tr -d ' \n' <$(or $(DIGESTS),build/images.json))" >>"$$GITHUB_OUTPUT"

images-scan images-sbom images-sign: registry-is-named $(call stamp,) ## scan, describe or sign the images of build/images.json
	@PATH="$(foreach tool,$(GRYPE) $(SYFT),$(dir $(tool)):)$$PATH" $(BIN)/python -m pipelines.publish_images $(@:images-%=%) $(published)

package = --model "$$MODEL" --format $(FORMAT) --sbom build/package.cdx.json \
  $(foreach registry,$(REGISTRY) $(COPY),--tag "$(registry)/$${MODEL%%@*}$(if $(filter kserve-oci,$(FORMAT)),-model)")

package: registry-is-named $(call stamp,) ## build an image with the server and a model (MODEL=digits@champion REGISTRY=HOST/PATH)
	@$(BIN)/python -m serving.package $(package)

package-push: registry-is-named $(call stamp,) ## build it, and push it to REGISTRY and COPY; digests to build/package.json
	@$(BIN)/python -m serving.package $(package) --push --digests build/package.json
	@[ -z "$$GITHUB_OUTPUT" ] || echo "digests=$$(tr -d ' \n' <build/package.json)" >>"$$GITHUB_OUTPUT"

pipeline_options = --registry $(REGISTRY) $(if $(TAG),--tag $(TAG)) $(if $(DIGESTS),--digests $(DIGESTS)) $(if $(STEPS),--steps $(STEPS))
selection = $(if $(WORKLOADS),--workload $(WORKLOADS))
server_options = $(if $(NAMESPACE),--namespace $(NAMESPACE))

compile: registry-is-named $(call stamp,) ## compile pipelines to build/pipelines (REGISTRY=HOST/PATH TAG=v1 WORKLOADS=digits)
	@$(BIN)/python -m pipelines.compile $(selection) $(pipeline_options)

upload: registry-is-named $(call stamp,) ## upload pipelines (like compile; KF_PIPELINES_ENDPOINT=URL)
	@$(BIN)/python -m pipelines.upload $(selection) $(pipeline_options) $(server_options)

schedule-diff: registry-is-named $(call stamp,) ## print the changes of schedule-apply (SCHEDULES=FILE)
	@$(BIN)/python -m pipelines.schedule diff --file $(SCHEDULES) $(pipeline_options) $(server_options)

schedule-apply: registry-is-named $(call stamp,) ## make Kubeflow Pipelines match the schedule file
	@$(BIN)/python -m pipelines.schedule apply --file $(SCHEDULES) $(pipeline_options) $(server_options)

summary: $(call stamp,$(EXTRAS_OF_$(WORKLOAD))) ## run a workload, and write its result to build/summary.md
	@mkdir -p build; code=0; \
	$(BIN)/python -m pipelines.run --json --workload $(WORKLOAD) --state $(STATE) $(foreach pair,$(SET),--set $(pair)) >build/run.json || code=$$?; \
	$(BIN)/python -m pipelines.summary build/run.json >build/summary.md || exit; \
	cat build/summary.md; \
	[ -z "$$GITHUB_STEP_SUMMARY" ] || cat build/summary.md >>"$$GITHUB_STEP_SUMMARY"; \
	exit $$code

comment: ## add build/summary.md to the pull request or merge request of a CI job (GitHub: gh; GitLab: curl)
	@sh scripts/comment build/summary.md

registry-is-named:
	@test -n "$(REGISTRY)" || { echo "say where the images go: make images REGISTRY=registry.example/ct TAG=v1"; exit 2; }

test: $(call stamp,test torch) ## run the tests, in three processes for two cores
	@$(BIN)/python -m pytest -q -rs -n auto --dist loadfile --no-loadscope-reorder -m "not full and not cluster" $(PYTEST) tests

test-images: $(call stamp,test) ## build the images and run their tests (needs Docker)
	@$(BIN)/python -m pytest -q -rs -m "not full and not cluster" tests/images

test-quick: $(call stamp,test) ## run the tests that need no servers
	@$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -m "not full and not cluster" $(QUICK)

test-cluster: cluster-is-named $(call stamp,test torch) ## run the tests on the cluster that KUBECONFIG names, in namespaces of their own
	@$(BIN)/python -m pytest -q -rs -m "cluster and not full" tests

cluster: cluster-is-named ## start a cluster in Docker with a registry at localhost:5000, with kind; writes KUBECONFIG
	@.ci/kind

cluster-is-named:
	@test -n "$$KUBECONFIG" || { echo "say which cluster: export KUBECONFIG=FILE"; exit 2; }

test-full: $(call stamp,test torch) ## run the tests that take minutes or the data sets at full size
	@$(BIN)/python -m pytest -q -s -m full --ignore tests/bad_day tests

test-bad-day: $(call stamp,test) ## kill runs (KILLS=100) and damage files, each followed by a run and a rollback
	@KILLS=$(KILLS) $(BIN)/python -m pytest -q -s -m full tests/bad_day

lint: $(call stamp,test) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lint-workflows: $(call stamp,test) $(ACTIONLINT) ## actionlint and zizmor on .github, without the network
	@$(ACTIONLINT) && $(BIN)/zizmor --offline --no-progress --quiet --strict-collection .github

# The wheel on PyPI downloads the program from GitHub. The Go module is verified with Go's checksum database.
$(ACTIONLINT): | $(call stamp,test)
	@command -v go >/dev/null || { echo "actionlint is built with Go, which is not installed: https://go.dev/doc/install"; exit 2; }
	@GOBIN=$(abspath $(BIN)) go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)
	@mv $(BIN)/actionlint $@

format: $(call stamp,test) ## let ruff format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(call stamp,) ## measure what the README says about speed
	@$(BIN)/python -m benchmarks.overhead --output docs/overhead.md
	@$(BIN)/python -m benchmarks.swaps --output docs/swaps.md
	@$(BIN)/python -m benchmarks.serving_image

bench-gate: $(call stamp,) ## measure the error rates of the gate
	@$(BIN)/python -m benchmarks.gate --output docs/gate.md

bench-year: $(call stamp,) ## compare what is served in a simulated year with what an oracle serves
	@$(BIN)/python -m benchmarks.year --output docs/gate.md

bench-mutants: $(call stamp,test) ## list the changes of the gate, the split, digests, ... that no test notices (MUTANTS="--group gate")
	@$(BIN)/python -m benchmarks.mutants $(MUTANTS)

bench-scale: $(call stamp,) ## measure the steps next to a plain script at up to 20 million rows, and at 10x the rows of nsmc
	@$(BIN)/python -m benchmarks.tables --output docs/scale.md
	@$(BIN)/python -m benchmarks.scale --output docs/scale.svg

bench-serving: $(call stamp,test torch) ## measure the server beside others (ARCHIVE=FILE.mar or WORKLOAD=digits; needs wrk)
	@$(BIN)/python -m benchmarks.serving $(if $(ARCHIVE),--archive $(ARCHIVE),$(if \
	  $(filter command line,$(origin WORKLOAD)),--workload $(WORKLOAD)))

bench-install: $(call stamp,) ## measure the time from a clean clone to an answered prediction
	@$(BIN)/python -m benchmarks.install --output docs/install-benchmark.md

golden: $(call stamp,) ## refresh the compiled pipelines that the tests compare with
	@$(BIN)/python -m tests.pipelines.golden

constraints: $(call stamp,) ## resolve the newest versions into constraints.txt and locks/ (UPGRADE= keeps them)
	@sh scripts/lock "$$(command -v uv || echo $(BIN)/uv)" $(LOCKS)

clean: ## remove what was built (the state folder stays)
	@rm -rf $(VENV) build out *.egg-info .pytest_cache .mypy_cache .ruff_cache
