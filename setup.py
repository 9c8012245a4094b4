"""What pyproject.toml can't say: configs/ goes into the wheel as lightendiff/configs/, to train with."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for path in sorted(Path("configs").iterdir()):
            target = Path(self.build_lib, "lightendiff", "configs", path.name)
            self.mkpath(str(target.parent))
            self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildWithConfigs})
