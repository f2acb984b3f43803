"""Pictures of domains, of what adapters do to them and of what that gains."""

from skadapt.plotting._adapter_accuracy import AdapterAccuracyDisplay
from skadapt.plotting._calibration import CalibrationComparisonDisplay
from skadapt.plotting._class_shares import ClassSharesDisplay
from skadapt.plotting._column_shift import ColumnShiftDisplay
from skadapt.plotting._domain_roc import DomainROCDisplay
from skadapt.plotting._domains import DomainsPlot, plot_domains
from skadapt.plotting._gains import AdapterGainDisplay
from skadapt.plotting._weights import WeightsDisplay

__all__ = [
    "AdapterAccuracyDisplay",
    "AdapterGainDisplay",
    "CalibrationComparisonDisplay",
    "ClassSharesDisplay",
    "ColumnShiftDisplay",
    "DomainROCDisplay",
    "DomainsPlot",
    "WeightsDisplay",
    "plot_domains",
]
