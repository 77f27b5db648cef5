"""Reads settings.ini, the one place where the package is described."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(HERE / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
LAB, EXTENSION = "share/jupyter/labextensions/lessonkit", "lessonkit/widgets/labextension"
STATUS = {"3": "3 - Alpha", "4": "4 - Beta", "5": "5 - Production/Stable"}

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    license=cfg["license"],
    keywords=cfg["keywords"].split(),
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require={"dev": cfg["dev_requirements"].split(), "bench": cfg["bench_requirements"].split()},
    packages=[*find_packages(include=["lessonkit", "lessonkit.*"]), "lessonkit.lessons"],
    package_dir={"lessonkit": "lessonkit", "lessonkit.lessons": "nbs/lessons"},
    package_data={
        "lessonkit": ["static/*"],
        "lessonkit.widgets": ["*.js", "*.css"],
        "lessonkit.lessons": ["*.ipynb", "*.json"],
    },
    data_files=[(LAB, [f"{EXTENSION}/package.json"]), (f"{LAB}/static", [f"{EXTENSION}/lab.js"])],
    entry_points={"console_scripts": cfg["console_scripts"].split()},
    classifiers=[
        f"Development Status :: {STATUS[cfg['status']]}",
        "Framework :: Jupyter",
        "Intended Audience :: Education",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
