"""The package's own names, before anything is imported."""

from __future__ import annotations

import subprocess
import sys


def test_every_public_name_is_listed_although_nothing_is_imported_yet():
    code = "import sys, pliant; print(set(pliant.__all__) - set(dir(pliant)), {'pliant.study', 'pliant.models'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]


def test_the_package_is_a_command():
    done = subprocess.run([sys.executable, "-m", "pliant", "--help"], capture_output=True, text=True, check=True)
    assert "What is a model worth after you change it?" in done.stdout
