"""Loopback servers that stand in for Kaggle and the Hugging Face hub; the clients that talk to them are real."""
