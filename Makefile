# Which Python makes the environment, and what else to give pip, for example
#   make quickstart PYTHON=python3.12 PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PYTHON ?= python3
PIP_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m monai.bundle run
OUTPUT := bundle/output/quickstart
QUICKSTART = --config_file "['bundle/configs/$(1).json','bundle/configs/quickstart.json']"
# Threads that wait by spinning for long slow down a machine that others use.
export GOMP_SPINCOUNT ?= 1000

.PHONY: help install quickstart test lint docs zoo zoo-check clean

help:
	@echo "make quickstart   install, then train, evaluate and super-resolve on the sample data"
	@echo "make test         install, then run the tests"
	@echo "make lint         install, then check style, format and types"
	@echo "make docs         install, then make the reference of the Python interface from the docstrings"
	@echo "make zoo          install, then make the bundle for MONAI's Model Zoo: dist/, a folder and its zip"
	@echo "make zoo-check    the same, then try it where only MONAI and the packages that it declares are installed"
	@echo "make install      install into .venv"
	@echo "make clean        remove .venv and everything that was made"

install: $(VENV)/installed

$(VENV)/installed: setup.cfg setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable ".[sample]"
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable ".[test]"
	@touch $@

quickstart: install
	@echo "== 1/3  Training on axial blocks of the MNI152 template"
	@$(RUN) training $(call QUICKSTART,train)
	@echo "== 2/3  Evaluating on a block that training has not seen: bicubic, what was just trained, the built-in model"
	@$(RUN) evaluating $(call QUICKSTART,evaluate)
	@echo "== 3/3  Super-resolving a volume at scale 2.5 with the built-in model"
	@$(RUN) inference $(call QUICKSTART,inference)
	@echo
	@echo "The sample is one average of 152 brains, smoother than any of them: this shows that it works here,"
	@echo "not how good it is. PSNR (dB) and SSIM per scale, paper degradation:"
	@echo
	@cat $(OUTPUT)/report.txt
	@echo
	@echo "  report   $(OUTPUT)/report.html"
	@echo "  scores   $(OUTPUT)/report.csv"
	@echo "  volume   $$(ls $(OUTPUT)/*_x2.5.nii.gz)"
	@echo "  MLflow   $(BIN)/mlflow ui --backend-store-uri sqlite:///$(OUTPUT)/mlruns.db"

# A file of tests shares what it trained, so it stays in one process.
test: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Each folder of the package is a page; what it exports is documented there.
docs: $(VENV)/installed-test
	$(BIN)/pdoc --docformat google --output-directory build/docs \
		miassr_monai.geometry miassr_monai.resampling $(subst /,.,$(patsubst %/__init__.py,%,$(wildcard miassr_monai/*/__init__.py)))
	@echo "build/docs/index.html"

zoo: install
	$(BIN)/python zoo/make_bundle.py dist

ZOO = dist/brain_mri_arbitrary_scale_super_resolution

zoo-check: zoo
	$(PYTHON) -m venv build/zoo
	$(BIN)/python zoo/check_bundle.py requirements $(ZOO) > build/zoo/requirements.txt
	build/zoo/bin/python -m pip install --quiet $(PIP_ARGS) --requirement build/zoo/requirements.txt jsonschema
	build/zoo/bin/python zoo/check_bundle.py run $(ZOO).zip

clean:
	rm -rf $(VENV) build dist bundle/output bundle/sample *.egg-info .pytest_cache .ruff_cache .hypothesis
