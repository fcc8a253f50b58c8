"""What is offered over HTTP, for people and their tools: OpenAPI 3.1, and a page that shows it."""
