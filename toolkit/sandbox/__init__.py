"""Executes what nobody trusts. One door: `toolkit.sandbox.executor.Executor`."""
