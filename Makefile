# make demo | test | fuzz | bench | train | ablation | lint | clean
#
# PYTHON       the interpreter that .venv is made from (3.10 or newer)
# COMFYUI_DIR  your own ComfyUI's folder; without it a pinned release is fetched into .cache
# ARGS         more arguments, for instance: make test ARGS="-k draw -x"

PYTHON ?= python3
ARGS ?=
VENV_PYTHON = .venv/bin/python
STAMP = .venv/.requirements

.PHONY: demo test fuzz bench train ablation lint clean venv

demo: venv
	@$(VENV_PYTHON) -m demo.run $(ARGS)

test: venv
	@$(VENV_PYTHON) -m pytest $(ARGS)

fuzz: venv
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m dev.fuzz $(ARGS)

bench: venv
	@$(VENV_PYTHON) -m bench $(ARGS)

train: venv
	@$(VENV_PYTHON) -m demo.training $(ARGS)

ablation: venv
	@$(VENV_PYTHON) -m demo.ablation $(ARGS)

lint: venv
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m dev.check_types

# The stamp holds a checksum of all that was asked for and of this file, so that another COMFYUI_DIR
# and another rule count too. A ComfyUI's own requirements are installed whole, under the torch and
# torchvision that are there: what fits them is taken of everything else.
venv:
	@set -e; \
	own="$${COMFYUI_DIR:+$$COMFYUI_DIR/requirements.txt}"; \
	if [ -n "$$own" ] && [ ! -f "$$own" ]; then \
		echo "COMFYUI_DIR is $$COMFYUI_DIR, but there is no requirements.txt in it" >&2; exit 1; \
	fi; \
	wanted="$$(cat requirements-unit.txt requirements-dev.txt Makefile $${own:+"$$own"} | cksum)"; \
	if [ -x $(VENV_PYTHON) ] && [ "$$(cat $(STAMP) 2>/dev/null)" = "$$wanted" ]; then exit 0; fi; \
	if [ ! -x $(VENV_PYTHON) ]; then \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
			{ echo "$(PYTHON) is older than 3.10: make PYTHON=python3.12 ..." >&2; exit 1; }; \
		echo "Making .venv with $(PYTHON) ..."; \
		$(PYTHON) -m venv .venv; \
	fi; \
	echo "Installing requirements-dev.txt into .venv (the first time takes minutes) ..."; \
	$(VENV_PYTHON) -m pip install -qq --disable-pip-version-check -r requirements-dev.txt; \
	if [ -n "$$own" ]; then \
		echo "Installing what the ComfyUI in COMFYUI_DIR asks for ..."; \
		$(VENV_PYTHON) -m pip list --disable-pip-version-check --format=freeze \
			| grep -E '^torch(vision)?==' > .venv/torch-constraints.txt; \
		$(VENV_PYTHON) -m pip install -qq --disable-pip-version-check \
			-r "$$own" -c .venv/torch-constraints.txt; \
	fi; \
	echo "$$wanted" > $(STAMP)

# .venv stays: it is slow to make, and a change of requirements renews it by itself.
clean:
	@rm -rf .cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@echo "Removed .cache and the tools' caches; .venv is kept."
