"""Questions to a language model, wherever it runs: the prompts' data, the replies' models, the checks, the cache.

    ChatCaptions(model).count_interactions("A boy kicks a ball.", attempt=0) -> 1

`model` is a ChatModel: behind a server (tasks/backends/openai) or in this process (tasks/backends/local_models).

    asking.py      ChatModel: one question until its reply is valid     replies.py    what counts as a reply
    captions.py    the four turns of MATRIX A.1                          faults.py     why there is none
    verifier.py    the VLM's look at a candidate                         pictures.py   what it gets to see
"""
