# make check   the quick loop: format, vet, lint, unit tests
# make test    everything, with the race detector, and each fuzz target for 3 s; installs what it needs
# make bench   the side-by-side table
# make soak    an hour of clients that come, subscribe and crash: nothing may grow (SOAK=10m for less)
GO        ?= go
BIN       := $(CURDIR)/bin
TIMEOUT   ?= 25m
FUZZ_TIME ?= 10s
export PATH := $(BIN):$(shell $(GO) env GOPATH)/bin:$(PATH)

.PHONY: test check fmt vet lint vuln unit bench soak generate conformance fuzz-smoke build deps

build:
	$(GO) build -o $(BIN)/offramp ./cmd/offramp

deps:
	scripts/install-test-deps.sh test

test: deps
	$(GO) test -race -shuffle=on -timeout $(TIMEOUT) ./...
	@$(MAKE) --no-print-directory fuzz-smoke FUZZ_TIME=3s
	@$(MAKE) --no-print-directory vuln

check: fmt vet lint unit

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$out" ]; then echo "not formatted, run gofmt -w on:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

lint:
	scripts/install-test-deps.sh lint
	golangci-lint run ./...

vuln:
	scripts/install-test-deps.sh vuln
	scripts/vuln.sh

# Everything but the tests that start other programs.
unit:
	$(GO) test -race -timeout 10m $$($(GO) list ./... | grep -v /integration)

# About an hour and a half on two idle processors; arguments for a look at some
# of it: make bench BENCH="-short -runs 1 -cases fanout"
bench:
	bench/run.sh $(BENCH)

SOAK ?= 1h
soak:
	OFFRAMP_SOAK=$(SOAK) $(GO) test -run TestNothingGrows -count=1 -v -timeout 0 ./integration

generate:
	$(GO) generate ./...

# docs/conformance.md, from a run of the tests that show the list's items.
CONFORMANCE_RUN := $(CURDIR)/bin/conformance
conformance: deps
	mkdir -p $(CONFORMANCE_RUN)
	rm -f $(CONFORMANCE_RUN)/*
	OFFRAMP_CONFORMANCE=$(CONFORMANCE_RUN)/records.tsv $(GO) test -json -count=1 -timeout $(TIMEOUT) \
		./integration ./integration/judges ./proxy/httpapi ./proxy/session ./proxy/transport/... ./proxy/webhooks \
		> $(CONFORMANCE_RUN)/tests.json || true
	$(GO) run ./integration/conformance/generate -tests $(CONFORMANCE_RUN)/tests.json \
		-records $(CONFORMANCE_RUN)/records.tsv > $(CONFORMANCE_RUN)/conformance.md
	mv $(CONFORMANCE_RUN)/conformance.md docs/conformance.md

# Every fuzz target for FUZZ_TIME.
fuzz-smoke:
	scripts/fuzz-smoke.sh $(FUZZ_TIME)
