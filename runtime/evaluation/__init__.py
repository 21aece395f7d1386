"""What a trained network is worth: accuracies and losses under attack, with intervals and with their
evidence."""

from __future__ import annotations
