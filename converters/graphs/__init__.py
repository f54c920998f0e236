"""Networks as files hold them: parsed, brought into one form, and matched against our architectures."""
