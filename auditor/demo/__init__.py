"""The embedded demo: small models, the data that its packages bring, and the rules that judge them. Nothing is downloaded."""
