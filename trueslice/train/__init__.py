"""How the dual encoder learns."""
