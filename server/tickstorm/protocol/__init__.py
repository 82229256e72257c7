"""Every message, its limits and its layout."""
