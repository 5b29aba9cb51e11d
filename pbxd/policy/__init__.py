"""The privacy contract, looked at on the running box: `evidence` gathers, `clauses` judges. docs/privacy.md has the contract."""
