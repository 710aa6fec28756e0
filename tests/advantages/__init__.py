"""Base advantages against numpy and verl's own GRPO."""
