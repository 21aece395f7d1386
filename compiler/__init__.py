"""Study + Observations -> Plan: cells, architectures, cost, laws, fitting, design, DAG.

Import it as `isoloss.compiler`; the folder name is for people, not for Python."""

if __name__ == "compiler":
    raise ImportError(
        "import isoloss.compiler, not compiler: a second copy of our classes would compare unequal"
    )
