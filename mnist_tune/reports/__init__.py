"""What people read: tables as text, figures and pages."""
