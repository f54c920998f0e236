"""Why a conversion failed: which layers compute something else than the source's, and what is wrong with them."""
