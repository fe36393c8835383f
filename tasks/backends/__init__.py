"""What does the work of the model-backed stages: one file or package a model library, chosen by name in the config.

A backend's constructor is cheap and gives its `identity` (part of every key); weights load at the first use.
"""


def use_one_opencv_thread() -> None:
    """Rows run in threads of their own: OpenCV's would compete with them, and some results depend on their number."""
    import cv2

    cv2.setNumThreads(1)
