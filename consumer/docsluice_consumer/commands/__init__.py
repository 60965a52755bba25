"""The commands of the service, and how they come to their settings."""
