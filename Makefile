# SPDX-License-Identifier: Apache-2.0

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where things go: everything that is built lands in bin/.
BIN := $(CURDIR)/bin
TOOLS := $(BIN)/tools
K8S := $(BIN)/k8s

BINARIES := manager tokenserver refresher
PLUGIN := kubectl-connectedapp

# Images: make push deploy REGISTRY=registry.example.com/connectedapps TAG=v1
REGISTRY ?=
IMAGE_PREFIX ?= $(or $(REGISTRY),connectedapps)
CONTAINER_TOOL ?= docker

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Pushed images have the version as their tag; manifests of a checkout say dev.
TAG ?= $(if $(REGISTRY),$(VERSION),dev)

# Where the images and the files of a release will be.
RELEASE_REGISTRY := $(or $(REGISTRY),registry.connectedapps.dev/connectedapps)
DOWNLOADS ?= https://connectedapps.dev/releases/$(VERSION)
# Platforms of the plugin, such as linux/amd64; empty is all.
PLUGINS ?=
DIST ?= dist

# The control plane's version; its modules are in hack/controlplane/go.mod.
K8S_VERSION := v1.37.2
K8S_VERSION_PACKAGE := k8s.io/component-base/version
K8S_LDFLAGS := -s -w -X $(K8S_VERSION_PACKAGE).gitVersion=$(K8S_VERSION) -X $(K8S_VERSION_PACKAGE).gitMajor=1 -X $(K8S_VERSION_PACKAGE).gitMinor=37

# KUBEBUILDER_ASSETS names a directory with etcd and kube-apiserver; without it they are built. It
# is exported, so a make within make finds it set: its value decides, not its origin.
KUBEBUILDER_ASSETS ?= $(K8S)
ASSETS := $(if $(filter $(K8S),$(KUBEBUILDER_ASSETS)),$(K8S)/etcd $(K8S)/kube-apiserver)
export KUBEBUILDER_ASSETS
KUBE_CONTROLLER_MANAGER := $(firstword $(wildcard $(KUBEBUILDER_ASSETS)/kube-controller-manager) $(K8S)/kube-controller-manager)
export KUBE_CONTROLLER_MANAGER

# What makes a machine a node, one of each build.
NODE_PROGRAMS := $(K8S)/kubelet $(BIN)/node/containerd $(BIN)/node/runc

# The installed kubectl when it is recent enough; otherwise one is built.
KUBECTL ?= $(or $(shell hack/kubectl.sh),$(K8S)/kubectl)
KUBECTL := $(KUBECTL)
export KUBECTL

CONTROLLER_GEN := $(TOOLS)/controller-gen
GOLANGCI_LINT := $(TOOLS)/golangci-lint
GOVULNCHECK := $(TOOLS)/govulncheck

# Static binaries. One setting for all builds, so that packages shared by the control plane, our
# binaries and the linter are compiled once; tests need cgo for the race detector.
export CGO_ENABLED := 0

# Both that there are. Helm 3 is told which Kubernetes it renders for, as its releases are.
HELM := $(BIN)/helm/helm3 $(BIN)/helm/helm4
HELM_LDFLAGS := -s -w $(foreach package,pkg/chartutil pkg/lint/rules,$(foreach part,Major=1 Minor=37,-X helm.sh/helm/v3/$(package).k8sVersion$(part)))

PROMETHEUS := $(BIN)/prometheus/prometheus $(BIN)/prometheus/promtool

# More memory for the collector makes big builds about a tenth faster.
BUILD := GOGC=400 hack/build.sh

##@ General

.PHONY: help
help: ## Show this help.
	@hack/help.sh $(MAKEFILE_LIST)

##@ See it work

.PHONY: demo
demo: build $(BIN)/cluster $(BIN)/portal $(ASSETS) $(KUBE_CONTROLLER_MANAGER) $(KUBECTL) ## Run everything and show it step by step; KEEP=1 leaves it running until Ctrl-C.
	@hack/demo.sh

.PHONY: control-plane
control-plane: $(BIN)/cluster $(ASSETS) $(KUBE_CONTROLLER_MANAGER) $(KUBECTL) ## Run an empty Kubernetes control plane until Ctrl-C.
	@echo 'Once the API is ready, in another terminal: export KUBECONFIG=$(BIN)/kubeconfig'
	@exec $(BIN)/cluster --assets=$(KUBEBUILDER_ASSETS) --controller-manager=$(KUBE_CONTROLLER_MANAGER) --kubeconfig=$(BIN)/kubeconfig

##@ Development

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Generate the DeepCopy methods.
	@hack/generate.sh code .

.PHONY: manifests
manifests: $(CONTROLLER_GEN) $(KUBECTL) ## Generate the CRDs, the manager's role, the dashboards, the chart's objects and docs/reference.
	@hack/generate.sh manifests .

.PHONY: fmt
fmt: ## Format all Go files.
	@gofmt -w api cmd hack internal test

.PHONY: vet
vet: ## Run go vet.
	@go vet ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint; design rules are in .golangci.yaml.
	@hack/lint.sh

.PHONY: test
test: verify unit ## Verify, then run all tests with the race detector.

.PHONY: unit
unit: ## Run all tests with the race detector; TEST='./internal/plan -run X' narrows it, and what is built first.
	@needs=$$(hack/needs.sh $(TEST)); [[ -z $$needs ]] || $(MAKE) $$needs
	@hack/test.sh $(TEST)

.PHONY: campaign
campaign: $(ASSETS) ## Kill manager and token server 500 times over 200 apps; CAMPAIGN_SEED repeats a run.
	@CAMPAIGN_KILLS=$${CAMPAIGN_KILLS:-500} CAMPAIGN_APPS=$${CAMPAIGN_APPS:-200} go test ./test/campaign -run Kills -v -count 1 -timeout 60m

.PHONY: deletion
deletion: $(ASSETS) $(KUBE_CONTROLLER_MANAGER) $(KUBECTL) ## Delete 1,000 apps in every way and state; nothing may stay behind.
	@DELETION_APPS=$${DELETION_APPS:-1000} go test ./test/deletion -v -count 1 -timeout 30m

.PHONY: test-e2e
test-e2e: images $(BIN)/registry $(BIN)/cluster $(K8S)/etcd $(K8S)/kube-controller-manager $(KUBECTL) $(BIN)/helm/helm4 $(NODE_PROGRAMS) ## Run real Pods of the images on a real node, in namespaces of its own; needs root.
	@$(BUILD) "the application of the tests" . -ldflags='-s -w' -o $(BIN)/e2e/ ./test/e2e/app
	@$(BIN)/release image -output=$(BIN)/images $(BIN)/node/pause $(BIN)/e2e/app
	@go test -c -o $(BIN)/e2e/test ./test/e2e
	@hack/e2e/release.sh $(DIST)/e2e 127.0.0.1:5000/connectedapps
	@E2E=1 E2E_RELEASE=$(abspath $(DIST))/e2e IMAGES=$(abspath $(DIST))/images KUBEBUILDER_ASSETS=$(K8S) KUBE_CONTROLLER_MANAGER=$(K8S)/kube-controller-manager hack/e2e.sh $(BIN)/e2e/test -test.v -test.timeout 20m

# The list of benchmarks, and how long each takes, is in hack/bench/benchmarks.go.
BENCHMARK = go run ./hack/bench $(if $(SHORT),--short) $(if $(STRICT),--strict)

.PHONY: bench
bench: $(if $(or $(if $(BENCH),,all),$(filter Operator Scale Tokens,$(BENCH))),$(ASSETS)) postgresql ## Measure and keep the results, half an hour; BENCH='Refresh Apps' chooses, SHORT=1 is a trial, BENCH=--help tells more.
	@$(BENCHMARK) $(BENCH)

.PHONY: bench-tokenserver
bench-tokenserver: postgresql ## Those of the token server, on one core against a bare ceiling program; 25 minutes.
	@$(BENCHMARK) ClientCredentials Introspection Refresh JWTBearer IDToken Flood Apps Families Revocations Footprint

.PHONY: bench-operator
bench-operator: $(ASSETS) ## Those of the operator: apply to Ready, 4 minutes; at rest and through restarts, an hour.
	@$(BENCHMARK) Operator Scale

.PHONY: bench-tokens
bench-tokens: $(ASSETS) ## AccessTokens kept fresh through a restart and an outage, 9 minutes; TOKENS=10000 takes 2 hours.
	@$(BENCHMARK) Tokens

.PHONY: verify
verify: verify-generated verify-format verify-modules licences lint ## Check generated files, formatting, modules, licences and lint.

.PHONY: verify-generated
verify-generated: $(CONTROLLER_GEN) $(KUBECTL)
	@hack/verify.sh generated

.PHONY: verify-format
verify-format:
	@hack/verify.sh format

.PHONY: verify-modules
verify-modules:
	@hack/verify.sh modules

.PHONY: licences
licences: ## Check licence headers and the licences of dependencies.
	@go run ./hack/licences

.PHONY: vulncheck
vulncheck: $(GOVULNCHECK) ## Look for known vulnerabilities in what we call.
	@hack/vulncheck.sh

.PHONY: presubmit
presubmit: test vulncheck ## Everything a change must pass.

.PHONY: screenshots
screenshots: browser-tools ## Take the screenshots of the pages in docs/images.
	@go test ./test/browser -run TestScreenshots -screenshots=$(CURDIR)/docs/images -count=1

.PHONY: pictures
pictures: $(ASSETS) $(KUBECTL) $(PROMETHEUS) postgresql ## Draw the dashboards in docs/images, from two minutes of a real Prometheus.
	@go test ./test/monitoring -run TestPictures -pictures=$(CURDIR)/docs/images -count=1

# What tests need beside themselves: hack/needs.sh says which.

.PHONY: control-plane-programs
control-plane-programs: $(ASSETS)

.PHONY: kubectl
kubectl: $(KUBECTL)

.PHONY: helm
helm: $(HELM)

.PHONY: controller-gen
controller-gen: $(CONTROLLER_GEN)

.PHONY: prometheus
prometheus: $(PROMETHEUS)

.PHONY: kube-controller-manager
kube-controller-manager: $(KUBE_CONTROLLER_MANAGER)

.PHONY: curl
curl:
	@hack/need.sh curl

.PHONY: postgresql
postgresql:
	@hack/need.sh postgres pgbouncer

.PHONY: client-tools
client-tools: $(BIN)/clients/node_modules/.package-lock.json $(BIN)/clients/oauth2-proxy $(BIN)/clients/envoyconfig
	@hack/need.sh node python3 curl javac libspring-web-java python3-authlib python3-flask python3-requests

.PHONY: browser-tools
browser-tools: $(BIN)/browser/node_modules/.package-lock.json
	@hack/need.sh chromium

##@ Build

.PHONY: build
build: ## Build the binaries into bin/.
	@$(BUILD) "manager, tokenserver and plugin" . -ldflags='$(LDFLAGS)' -o $(BIN)/ ./cmd/manager ./cmd/tokenserver ./cmd/$(PLUGIN)
# Without HTTP/2, which its few requests have no use for: it is small in every Pod.
	@$(BUILD) refresher . -tags=nethttpomithttp2 -ldflags='$(LDFLAGS)' -o $(BIN)/ ./cmd/refresher

.PHONY: run
run: ## Run the manager on this machine, against the current kubeconfig.
	@go run ./cmd/manager

.PHONY: images
images: $(BIN)/release ## Build the images for amd64 and arm64 into dist/images, without a container engine.
	@$(BIN)/release images -version=$(VERSION) -binaries=$(BIN)/platforms -output=$(DIST)

.PHONY: push
push: $(BIN)/release ## Build the images and send them to REGISTRY=registry.example.com/connectedapps, with the tag TAG; FORCE=1 moves the tag of a version.
	@$(BIN)/release push -check -registry=$(REGISTRY) -tag=$(TAG)
	@$(MAKE) images
	@$(BIN)/release push -images=$(DIST)/images -registry=$(REGISTRY) -tag=$(TAG) $(if $(filter 1,$(FORCE)),-force)

.PHONY: release
release: $(BIN)/release $(KUBECTL) ## Make all files of a release in dist: VERSION=v0.2.0, images at REGISTRY, files at DOWNLOADS.
	@$(BIN)/release dist -version=$(VERSION) -binaries=$(BIN)/platforms -output=$(DIST) -kubectl=$(KUBECTL) -registry=$(RELEASE_REGISTRY) -downloads=$(DOWNLOADS) -plugins=$(PLUGINS)

.PHONY: docker-build
docker-build: ## Build the images IMAGE_PREFIX/{manager,tokenserver,refresher}:TAG with a container engine.
	@command -v $(CONTAINER_TOOL) >/dev/null || { echo 'missing: $(CONTAINER_TOOL) (CONTAINER_TOOL=podman uses podman)' >&2; exit 1; }
	@for name in $(BINARIES); do \
		$(CONTAINER_TOOL) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
			--build-arg CREATED=$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd) -t $(IMAGE_PREFIX)/$$name:$(TAG) -f cmd/$$name/Dockerfile .; \
	done

.PHONY: clean
clean: ## Remove all that was built.
	@rm -rf $(BIN) $(DIST)

##@ Deployment (into the cluster of the current kubeconfig)

# What the cluster can take: policies that change objects are served since 1.36.
INJECTION = $$($(KUBECTL) get --raw /apis/admissionregistration.k8s.io/v1 | grep -q '"mutatingadmissionpolicies"' && echo config/injection)

# What is installed. Yours is a folder elsewhere, with your settings: docs/installation.md.
KUSTOMIZATION ?= config/default $(INJECTION)

.PHONY: install
install: $(KUBECTL) ## Install the CRDs.
	@$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: $(KUBECTL) ## Remove the CRDs and before them all objects of ours; FORCE=1 as of undeploy.
	@KUBECTL=$(KUBECTL) hack/undeploy.sh config/crd

.PHONY: deploy
deploy: $(KUBECTL) ## Install everything in the namespace connectedapps-system, or KUSTOMIZATION=folder.
	@for folder in $(KUSTOMIZATION); do \
		$(KUBECTL) kustomize $$folder \
			| sed -E 's|image: connectedapps/([a-z]+):dev|image: $(IMAGE_PREFIX)/\1:$(TAG)|' \
			| $(KUBECTL) apply --server-side -f -; \
	done

.PHONY: undeploy
undeploy: $(KUBECTL) ## Remove everything, the token server's data included; FORCE=1 lets go what no manager lets go.
	@KUBECTL=$(KUBECTL) hack/undeploy.sh $(KUSTOMIZATION)

# Programs that are built once and again when their module changes.

$(CONTROLLER_GEN) $(GOVULNCHECK) &: hack/tools/go.mod hack/tools/go.sum
	@$(BUILD) "controller-gen and govulncheck" hack/tools -ldflags='-s -w' -o $(TOOLS)/ tool
	@touch $(CONTROLLER_GEN) $(GOVULNCHECK)

$(GOLANGCI_LINT): hack/tools/golangci-lint/go.mod hack/tools/golangci-lint/go.sum
	@$(BUILD) golangci-lint hack/tools/golangci-lint -ldflags='-s -w' -o $(TOOLS)/ tool
	@touch $@

CONTROL_PLANE_MODULE := hack/controlplane/go.mod hack/controlplane/go.sum
BUILD_CONTROL_PLANE = $(BUILD) "$(1)" hack/controlplane -ldflags='$(K8S_LDFLAGS)' -o $(K8S)/

$(K8S)/etcd $(K8S)/kube-apiserver &: $(CONTROL_PLANE_MODULE) hack/controlplane/etcd/main.go
	@$(call BUILD_CONTROL_PLANE,etcd and kube-apiserver) ./etcd k8s.io/kubernetes/cmd/kube-apiserver
	@touch $(K8S)/etcd $(K8S)/kube-apiserver

$(K8S)/kube-controller-manager $(K8S)/kubectl: $(K8S)/%: $(CONTROL_PLANE_MODULE)
	@$(call BUILD_CONTROL_PLANE,$*) k8s.io/kubernetes/cmd/$*
	@touch $@

$(K8S)/kubelet: $(CONTROL_PLANE_MODULE)
	@$(call BUILD_CONTROL_PLANE,kubelet and kube-scheduler) k8s.io/kubernetes/cmd/kubelet k8s.io/kubernetes/cmd/kube-proxy k8s.io/kubernetes/cmd/kube-scheduler
	@touch $@

$(BIN)/node/containerd: hack/node/go.mod hack/node/go.sum $(wildcard hack/node/pause/*.go)
	@$(BUILD) "containerd and CNI plugins" hack/node -ldflags='-s -w' -o $(BIN)/node/ ./pause github.com/containerd/containerd/v2/cmd/containerd github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 github.com/containerd/containerd/v2/cmd/ctr github.com/containernetworking/plugins/plugins/ipam/host-local github.com/containernetworking/plugins/plugins/main/loopback github.com/containernetworking/plugins/plugins/main/ptp
	@touch $@

$(BIN)/node/runc: hack/node/go.mod hack/node/go.sum
	@hack/need.sh pkg-config libseccomp-dev gcc
	@CGO_ENABLED=1 $(BUILD) runc hack/node -tags=seccomp -ldflags='-s -w' -o $(BIN)/node/ github.com/opencontainers/runc
	@touch $@

$(HELM): $(BIN)/helm/helm%: hack/helm/go.mod hack/helm/go.sum
	@$(BUILD) "Helm $*" hack/helm -ldflags='$(HELM_LDFLAGS)' -o $@ helm.sh/helm/v$*/cmd/helm
	@touch $@

# Of its service discoveries it has that of Kubernetes, or it would take long to build.
$(PROMETHEUS) &: hack/prometheus/go.mod hack/prometheus/go.sum
	@$(BUILD) "Prometheus and promtool" hack/prometheus -tags=remove_all_sd,enable_kubernetes_sd -ldflags='-s -w' -o $(BIN)/prometheus/ tool
	@touch $(PROMETHEUS)

$(BIN)/release: $(wildcard hack/release/*.go hack/release/go.* hack/release/program/*.go)
	@$(BUILD) "what makes images" hack/release -o $@ .
	@touch $@

$(BIN)/registry: $(wildcard hack/release/go.* hack/release/registry/*.go)
	@$(BUILD) "a registry" hack/release -o $@ ./registry
	@touch $@

$(BIN)/cluster: $(wildcard hack/cluster/*.go hack/cluster/node/*)
	@$(BUILD) "the cluster command" . -o $@ ./hack/cluster
	@touch $@

$(BIN)/portal: $(wildcard hack/demo/portal/*)
	@$(BUILD) "the demo's portal" . -o $@ ./hack/demo/portal
	@touch $@

# Programs of others that tests drive; envoyconfig is ours and has Envoy's types.
CLIENT_PROGRAMS := test/clients/programs

$(BIN)/clients/oauth2-proxy $(BIN)/clients/envoyconfig &: $(wildcard $(addprefix $(CLIENT_PROGRAMS)/,go.mod go.sum envoyconfig/*.go))
	@$(BUILD) "oauth2-proxy and envoyconfig" $(CLIENT_PROGRAMS) -ldflags='-s -w' -o $(BIN)/clients/ tool ./envoyconfig
	@touch $(BIN)/clients/oauth2-proxy $(BIN)/clients/envoyconfig

# Packages of npm that tests use, at the versions of their lock files.
NPM_PACKAGES := $(BIN)/browser/node_modules/.package-lock.json $(BIN)/clients/node_modules/.package-lock.json

$(BIN)/browser/node_modules/.package-lock.json: test/browser/package.json test/browser/package-lock.json
$(BIN)/clients/node_modules/.package-lock.json: test/clients/node/package.json test/clients/node/package-lock.json
$(NPM_PACKAGES):
	@hack/npm.sh $(dir $<) $(patsubst %/node_modules,%,$(@D))
	@touch $@
