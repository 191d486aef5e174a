"""The sizes of Llama 3.1 8B, as its config.json has them."""

LLAMA_8B = {  # grouped queries: 32 heads share 8 keys and values
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
