"""For every Python of the image: in a script called train.py, `from train import pipe` is the package, not the script.

train.py is the commonest name there is, and a script's folder comes first on sys.path. A script does not import itself:
there, and only there, `train` is the package beside sagemaker_tensorflow. A module of the user's called train.py that
another script imports stays what it is.

`dataset`, for processing jobs, is found last of all: a package of that name from a script's requirements.txt hides it.
"""

import importlib.machinery
import os
import sys


class ScriptCalledTrain:
    """Finds the package where the search would find the running script."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # noqa: ARG004 - Python's signature
        if name != "train":
            return None
        scripts = [getattr(sys.modules.get(main), "__file__", None) or "" for main in ("__main__", "__mp_main__")]
        own = {_folder(script) for script in scripts if os.path.basename(script) == "train.py"}
        return _find(name, own) if own else None


def _find(name, passed_over):
    folders = [folder for folder in sys.path if os.path.abspath(folder) not in passed_over]
    return importlib.machinery.PathFinder.find_spec(name, folders)


def _folder(path):
    return os.path.dirname(os.path.abspath(path))


sys.meta_path.insert(0, ScriptCalledTrain)
sys.path.append(os.path.join(_folder(__file__), "last"))
hidden = _find("sitecustomize", {_folder(__file__)})  # the one that this one hides
if hidden:
    hidden.loader.exec_module(type(sys)(hidden.name))
