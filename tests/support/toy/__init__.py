"""A dataset that the product does not know: a room (dataset.py) and a flow of one stage (flow.py).

tests/flows/test_toy_dataset.py takes it from plan to page without a change of the core.
"""
