"""Operations on folders of runs and other artifacts: status, cleanup, backup, copies to other places, remote machines."""
