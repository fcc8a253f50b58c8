"""How good a model is, how sure that is, and whether a variant is good enough.

| metric | meaning |
|---|---|
| `average_precision` | area under the precision-recall curve, by steps |
| `auc` | area under the ROC curve |
| `recall_at_fpr_1pct` | share of the positives found when 1 % of the negatives are alerts |
| `card_precision_100` | of the 100 customers a day with the highest score, the share defrauded |
| `ece` | expected calibration error, 15 bins of equal mass |

The first three depend on the order of scores alone. They come with 95 % intervals, and with
ratios to another model, from a bootstrap that is paired by customer. `assess` puts it together,
`gate` judges. `segments` says the same of groups of rows, `changes` which decisions turn out
otherwise, `evidence` what the model card shows beside.
"""
