"""Methods: pure functions from facts about a model to data. They never see the model.

One folder is one family and one verb (``longspan.families``); one file is one method.
"""
