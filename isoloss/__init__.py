"""isoloss: a declarative experiment language with compiled training plans for adversarial robustness."""

__version__ = "0.1.0"
