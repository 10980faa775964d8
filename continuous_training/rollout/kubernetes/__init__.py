"""The deployment target `kubernetes`: a Deployment per version behind one Service."""
