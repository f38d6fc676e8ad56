"""The tutor: knowledge, retrieval, chat, interface. See README.md, "How it is built"."""
