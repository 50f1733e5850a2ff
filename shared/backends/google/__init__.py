"""The google backend: Firestore and Secret Manager. Only here, and in infra/, is a vendor named."""
