"""What needs no fine-tuning."""
