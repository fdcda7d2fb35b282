"""Describes the device that MLX uses: versions, memory, speed, repeatable gradients, and what to install."""

from lazarus_models.doctor.diagnosis import Diagnosis as Diagnosis
from lazarus_models.doctor.diagnosis import diagnose as diagnose
from lazarus_models.doctor.lines import diagnosis_lines as diagnosis_lines
