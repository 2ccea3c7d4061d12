"""Making a bundle whose large layers compute in int8."""
