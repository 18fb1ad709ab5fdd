"""A mutation run: small changes to the package, each of which some test ought to notice.

``python -m tests.mutation`` draws a sample of mutants, runs the tests that matter for each one's
module, and prints those that no test has noticed.  :mod:`tests.mutation.operators` says what is
changed, and :mod:`tests.mutation.scope` in which modules, and which tests are run.
"""
