"""The libraries and models behind the model-backed stages: one file or package each, chosen by name in the config.

A backend's constructor is cheap and sets its `identity`, which is part of every key; weights load at the first use.
"""


def use_one_opencv_thread() -> None:
    """Limit OpenCV to one thread: rows already run in parallel, and some results depend on its number of threads."""
    import cv2

    cv2.setNumThreads(1)
