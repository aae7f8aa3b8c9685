"""The dialogs: joining, options, devices; their forms and what can be wrong with what was typed."""
