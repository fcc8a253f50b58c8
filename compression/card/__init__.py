"""The model card: one page for a model-risk file, as HTML and as Markdown.

Everything on it comes out of the store: `model.json`, manifests, `baselines.json` and
`evidence.json`. No row is scored to draw it, and drawing it again gives the same bytes.
"""
