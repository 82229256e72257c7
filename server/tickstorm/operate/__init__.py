"""For whoever runs a server: metrics, the admin page, why a tick was late, logs, the doctor."""
